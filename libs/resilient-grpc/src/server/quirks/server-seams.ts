import type { Seam } from '../../channel/quirks/seam.js';

/** Internals of grpc-js and Node that the server uses, and the features that need them. Rendered in docs/internals/private-names.md. */
export const SERVER_SEAMS: readonly Seam[] = [
  // Probed when the server starts.
  {
    on: 'server',
    needs: ['createHttp2Server()'],
    lostWithout:
      'management of server connections (age, idle timeout, closing during a drain), keepalive after GOAWAY (without it, connections with open calls are dropped), reports of failed TLS handshakes, refusal of unread calls during an overload, and metrics of calls to unknown methods',
  },
  // Probed at the first connection, and at the first call.
  {
    on: 'server session',
    needs: ['[kHandle].hasPendingData()', '[state].streams'],
    lostWithout:
      'detection of connections that stall after a protocol error by the client (without it, keepalive closes them later)',
  },
  {
    // Probed at the first failed handshake.
    on: 'rejected TLS socket',
    needs: ['_parent'],
    lostWithout: 'addresses of clients whose certificates were rejected, in the log',
  },
  {
    // The innermost call: property `call` of the call that a handler receives, inside the wrappers of interceptors (`nextCall`).
    on: 'server call',
    needs: ['stream.close()'],
    lostWithout:
      'reset of streams whose clients are not reading, and statuses and compressed request sizes of calls in telemetry',
  },
];
