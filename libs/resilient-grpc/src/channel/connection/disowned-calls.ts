import { constants, type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2';

/** What grpc-js has of a connection. Another grpc-js may have no such fields. */
export interface ConnectionTransport {
  readonly session?: Pick<ClientHttp2Session, 'prependListener' | 'request'>;
  readonly activeCalls?: Iterable<{ readonly http2Stream?: Pick<ClientHttp2Stream, 'id' | 'close'> }>;
}

/**
 * Calls above the last stream id of a GOAWAY were never seen by the application, whatever its code is (RFC 9113, section 6.8).
 * Behind a code other than NO_ERROR Node ends the whole session with that code, before it looks at the ids; so a call that meets
 * such an end on the wire looks like one that may have arrived. It is made what it is: REFUSED_STREAM.
 */
export function refuseDisowned({ session, activeCalls = [] }: ConnectionTransport): void {
  // Before Node ends the session, which is in this same event.
  session?.prependListener('goaway', (code: number, lastStreamId: number) => {
    if (code === constants.NGHTTP2_NO_ERROR) return;
    for (const { http2Stream } of activeCalls) {
      // A stream without an id was never sent.
      if ((http2Stream?.id ?? Infinity) > lastStreamId) http2Stream?.close(constants.NGHTTP2_REFUSED_STREAM);
    }
  });
}
