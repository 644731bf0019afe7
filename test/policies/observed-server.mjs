// An HTTP/2 server in its own process that echoes the messages of each call:
//   node observed-server.mjs --port 0 --log FILE
// It writes 'connected' to the log after it has sent its SETTINGS, and 'answered' after it has sent a complete response. A client whose
// event loop is blocked reads the log to detect that these bytes wait in its socket.
import { appendFileSync } from 'node:fs';
import { createServer } from 'node:http2';
import { parseArgs } from 'node:util';

const { values } = parseArgs({ options: { port: { type: 'string' }, log: { type: 'string' } } });
/** Writes `line` a few event-loop turns later, because Node writes to the socket in this turn or in the next one. */
const logAfterTurns = (line, turns = 5) =>
  void setImmediate(() => (turns > 0 ? logAfterTurns(line, turns - 1) : appendFileSync(values.log, `${line}\n`)));

const server = createServer();
server.on('session', (session) => {
  session.on('error', () => undefined);
  logAfterTurns('connected');
});
server.on('stream', (stream) => {
  stream.on('error', () => undefined);
  stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
  stream.on('close', () => logAfterTurns('answered'));
  stream.pipe(stream);
});
server.listen(Number(values.port), '127.0.0.1', () => {
  console.log(`listening on 127.0.0.1:${server.address().port}`);
});
