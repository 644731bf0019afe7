// Measures the memory of calls that wait while the channel connects:
//   node --expose-gc waiting-memory.mjs resilient-grpc|nest [SETTINGS AS JSON]
// It prints { waiting, bytes }: the number of waiting calls, and the heap bytes of each. The peer accepts the connection and stays silent.
import { createServer } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { readMemory } from '../../../bench/memory.mjs';

const CALLS = 4_000;

const { open } = await import(`../../../bench/contenders/${process.argv[2]}.mjs`);
const peer = createServer((socket) => socket.on('error', () => undefined));
await new Promise((resolve) => peer.listen(0, '127.0.0.1', resolve));
const contender = await open(`127.0.0.1:${peer.address().port}`, JSON.parse(process.argv[3] ?? '{}'));
let ended = 0;
const wait = (count) => {
  for (let i = 0; i < count; i++) contender.get(String(i), () => (ended += 1));
};
// Warm-up: compiles the code and lets the channel start to connect.
wait(500);
await pause(500);
const before = await readMemory();
wait(CALLS);
await pause(200);
const after = await readMemory();
console.log(JSON.stringify({ waiting: 500 + CALLS - ended, bytes: Math.round((after.heap - before.heap) / CALLS) }));
process.exit();
