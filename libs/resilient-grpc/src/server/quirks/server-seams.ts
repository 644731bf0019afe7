import type { Seam } from '../../channel/quirks/seam.js';

/** Internals of grpc-js and Node that the server uses, and the features that need them. Rendered in docs/compatibility.md. */
export const SERVER_SEAMS: readonly Seam[] = [
  // Probed when the server starts.
  {
    on: 'server',
    needs: ['createHttp2Server()'],
    lostWithout:
      'connections of the server (age, idle time, backlog, their end at a drain; keepalive cuts calls of a connection that received GOAWAY)',
  },
  // Probed at the first connection, and at the first call.
  {
    on: 'server session',
    needs: ['[state].streams'],
    lostWithout: 'the early end of connections with nothing but incomplete requests at a drain',
  },
  {
    on: 'server session',
    needs: ['[kHandle].hasPendingData()'],
    lostWithout: 'the search for connections that a protocol error of their client has stopped (keepalive ends them)',
  },
  {
    // Refers to `call.call` of the call that a handler receives, below the interceptors' (`nextCall`).
    on: 'server call',
    needs: ['stream.close()'],
    lostWithout: 'the reset of streams whose client does not read, and sizes and statuses of calls in telemetry',
  },
];
