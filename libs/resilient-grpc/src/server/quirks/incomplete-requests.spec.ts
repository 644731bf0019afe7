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

/** A request, as the server sees it. */
async function request(endStream: boolean): Promise<ServerHttp2Stream> {
  const made = client.request({ ':method': 'POST', ':path': '/' }, { endStream });
  made.on('error', () => undefined);
  const before = streams.length;
  return waitFor(() => streams[before]);
}

describe('a session', () => {
  it('awaits nothing but requests where none has come to its end, or was answered', async () => {
    const first = await request(false);
    await request(false);
    const session = first.session!;
    expect(awaitsRequestsOnly(session)).toBe(true);
    first.respond({ ':status': 200 });
    expect(awaitsRequestsOnly(session)).toBe(false);
  });

  it('is at work where a request is whole', async () => {
    const { session } = await request(false);
    const whole = await request(true);
    await waitFor(() => whole.state.remoteClose === 1);
    expect(awaitsRequestsOnly(session!)).toBe(false);
  });

  it('awaits none where nothing is open', async () => {
    const half = await request(false);
    const { session } = half;
    half.close();
    await waitFor(() => half.destroyed);
    expect(awaitsRequestsOnly(session!)).toBe(false);
  });

  it('is taken for one at work where Node keeps its streams otherwise', () => {
    expect(awaitsRequestsOnly({})).toBe(false);
    expect(awaitsRequestsOnly({ [Symbol('state')]: { streams: [] } })).toBe(false);
  });
});
