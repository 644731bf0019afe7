#!/usr/bin/env node
import { runDoctor } from '../dist/doctor/run-doctor.js';

// grpc-js passes IP addresses as TLS server names, so Node would print a deprecation warning (DEP0123) in every run.
process.noDeprecation = true;
const code = await runDoctor(process.argv.slice(2), process);
// A pending DNS lookup would keep the process alive until the system's timeout.
process.stdout.write('', () => process.exit(code));
