// observing-client.ts CONNECTION: prints the explanations of a failed connection. The argument and the output are JSON.
import 'reflect-metadata';
import { observeFailure, type FailingConnection } from './observed-failure.js';

const [, , connection = ''] = process.argv;
// The cast is safe because the test passes a connection as JSON.
console.log(JSON.stringify(await observeFailure(JSON.parse(connection) as FailingConnection)));
process.exit(0);
