// Runs the emulator from npm: node firestore.cjs <node_modules> <port>
const [modules, port] = process.argv.slice(2);
const { FirestoreServer } = require(`${modules}/@firestore-emulator/server`);
new FirestoreServer().start(Number(port));
