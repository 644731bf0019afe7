import { connect, createServer, type ClientHttp2Session, type Http2Server, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { waitFor } from '../../testing/wait-for.js';
import { awaitsRequestsOnly } from './incomplete-requests.js';

let server: Http2Server;
let client: ClientHttp2Session;
let streams: ServerHttp2Stream[];

beforeEach(async () => {
  streams = [];
  server = createServer().on('stream', (stream: ServerHttp2Stream) => {
    stream.on('error', () => undefined);
    stream.resume();
    streams.push(stream);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  client = connect(`http://127.0.0.1:${String((server.address() as AddressInfo).port)}`);
});
afterEach(() => {
  client.destroy();
  server.close();
});

/** Sends a request and returns its stream on the server. */
async function request(endStream: boolean): Promise<ServerHttp2Stream> {
  const made = client.request({ ':method': 'POST', ':path': '/' }, { endStream });
  made.on('error', () => undefined);
  const before = streams.length;
  return waitFor(() => streams[before]);
}

describe('awaitsRequestsOnly', () => {
  it('returns true only if all open requests are incomplete and unanswered', async () => {
    const first = await request(false);
    await request(false);
    const session = first.session!;
    expect(awaitsRequestsOnly(session)).toBe(true);
    first.respond({ ':status': 200 });
    expect(awaitsRequestsOnly(session)).toBe(false);
  });

  it('returns false if a request is complete', async () => {
    const { session } = await request(false);
    const whole = await request(true);
    await waitFor(() => whole.state.remoteClose === 1);
    expect(awaitsRequestsOnly(session!)).toBe(false);
  });

  it('returns false if no stream is open', async () => {
    const half = await request(false);
    const { session } = half;
    half.close();
    await waitFor(() => half.destroyed);
    expect(awaitsRequestsOnly(session!)).toBe(false);
  });

  it('returns false if Node stores its streams differently', () => {
    expect(awaitsRequestsOnly({})).toBe(false);
    expect(awaitsRequestsOnly({ [Symbol('state')]: { streams: [] } })).toBe(false);
  });
});
