import { once } from 'node:events';
import http2 from 'node:http2';
import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { startHttp2Server } from './support/plain-http2.mjs';
import { reproduce } from './support/reproduce.mjs';

const STREAMS = 200;
const HELD_BYTES = 16 * 1_024;

const oldSpace = () => getHeapSpaceStatistics().find(({ space_name }) => space_name === 'old_space').space_used_size;

await reproduce('node', async () => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc');
  const { server } = await startHttp2Server((stream) => stream.respond({ ':status': 200 }, { endStream: true }));
  const session = http2.connect(`http://127.0.0.1:${server.address().port}`);
  const request = async () => {
    const held = new Array(HELD_BYTES / 8).fill(0.5);
    const stream = session.request({ ':path': '/' }, { endStream: true });
    stream.on('response', () => held.length).resume();
    await once(stream, 'close');
  };
  await request();
  collect();
  const before = oldSpace();
  for (let i = 0; i < STREAMS; i += 1) await request();
  // Runs three minor collections, because objects that survive two of them move to the old space.
  for (let i = 0; i < 3; i += 1) collect({ type: 'minor' });
  return oldSpace() - before > (STREAMS * HELD_BYTES) / 2;
});
