#!/usr/bin/env node
import { runDoctor } from '../dist/doctor/run-doctor.js';

// grpc-js asks TLS for IP addresses by name, as Node says behind each run: no news at 3 a.m.
process.noDeprecation = true;
const code = await runDoctor(process.argv.slice(2), process);
// A look-up that the system does not answer would hold the process for as long as the system waits.
process.stdout.write('', () => process.exit(code));
