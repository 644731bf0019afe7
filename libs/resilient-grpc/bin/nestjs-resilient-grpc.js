#!/usr/bin/env node
const [command, ...args] = process.argv.slice(2);
let code;
// A reader such as `head` or `grep -q` may close the pipe early. The exit code is still that of the command.
process.stdout.on('error', (error) => {
  if (error.code !== 'EPIPE') throw error;
});
if (command === 'migrate') {
  const { runMigrate } = await import('../dist/migrate/run-migrate.js');
  code = await runMigrate(args, process);
} else {
  // For a target that is an IP address, grpc-js passes the address as the TLS server name. Node would then print a deprecation warning
  // (DEP0123).
  process.noDeprecation = true;
  const { runDoctor } = await import('../dist/doctor/run-doctor.js');
  code = await runDoctor(process.argv.slice(2), process);
}
// A pending DNS lookup would keep the process alive until the system's timeout.
process.stdout.write('', () => process.exit(code));
