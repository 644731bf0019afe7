#!/usr/bin/env node
const [command, ...args] = process.argv.slice(2);
let code;
if (command === 'migrate') {
  const { runMigrate } = await import('../dist/migrate/run-migrate.js');
  code = await runMigrate(args, process);
} else {
  // grpc-js passes IP addresses as TLS server names, so Node would print a deprecation warning (DEP0123) in every run.
  process.noDeprecation = true;
  const { runDoctor } = await import('../dist/doctor/run-doctor.js');
  code = await runDoctor(process.argv.slice(2), process);
}
// A pending DNS lookup would keep the process alive until the system's timeout.
process.stdout.write('', () => process.exit(code));
