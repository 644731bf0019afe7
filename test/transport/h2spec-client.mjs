// The client that h2specd tests: connects to the URL in its argument, and makes one call.
import { connect } from 'node:net';
import { systemClock } from '../../libs/resilient-grpc/dist/time/clock.js';
import { ResponseStream } from '../../libs/resilient-grpc/dist/transport/grpc/response-stream.js';
import { encodedBound, encodeFields } from '../../libs/resilient-grpc/dist/transport/hpack/hpack-encoder.js';
import { SocketConnection } from '../../libs/resilient-grpc/dist/transport/socket/socket-connection.js';

/** Longer than the timeout of h2specd, so that the exit of this process does not count as the end of the connection. */
const LIFETIME_MS = 10_000;
const SETTINGS = { streamWindow: 65_535, connectionWindow: 1_048_576, maxHeaderListSize: 65_535, headerTableSize: 0 };
const ignored = () => undefined;

const { hostname, port, host } = new URL(process.argv[2]);
const fields = [':method', 'POST', ':scheme', 'http', ':path', '/a.B/C', ':authority', host, 'te', 'trailers'];
const connection = new SocketConnection(
  SETTINGS,
  {
    ready() {
      const handler = { headers: ignored, message: ignored, trailers: ignored, failed: ignored, drained: ignored };
      const response = new ResponseStream(handler, 1_000_000);
      response.stream = connection.http2.open(response, encodedBound(fields), (target, at) =>
        encodeFields(target, at, fields),
      );
      connection.callStarted();
      response.request(Infinity);
      response.stream.send(Buffer.from('hello'), 0, undefined, true);
    },
    settingsChanged: ignored,
    goawayReceived: ignored,
    idsRunOut: ignored,
    // The peer must be able to read the GOAWAY.
    ended: () => setTimeout(() => process.exit(), 50),
  },
  systemClock,
);
const socket = connect({ host: hostname, port: Number(port), onread: connection.onread }, () =>
  connection.start(socket, true),
);
setTimeout(() => process.exit(), LIFETIME_MS);
