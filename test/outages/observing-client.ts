// observing-client.ts CONNECTIONS: prints the explanations of failed connections. The argument and the output are JSON.
import 'reflect-metadata';
import { observeFailure, type FailingConnection } from './observed-failure.js';

const [, , connections = ''] = process.argv;
// The cast is safe because the test passes connections as JSON.
const observed = await Promise.all((JSON.parse(connections) as readonly FailingConnection[]).map(observeFailure));
console.log(JSON.stringify(observed));
process.exit(0);
