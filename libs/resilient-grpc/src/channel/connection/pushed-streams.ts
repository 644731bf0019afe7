import { constants, type ClientHttp2Session, type ClientHttp2Stream } from 'node:http2';

/**
 * Refuses the streams that the server of `session` pushes: gRPC does not use server push. grpc-js has no listener for them, so an error
 * on one, as after a GOAWAY with an error, would end the process.
 */
export function refusePushedStreams(session: Partial<Pick<ClientHttp2Session, 'on'>>): void {
  session.on?.('stream', refuse);
}

function refuse(stream: ClientHttp2Stream): void {
  // No call uses this stream.
  stream.on('error', () => undefined);
  stream.close(constants.NGHTTP2_REFUSED_STREAM);
  // Node closes a stream only after its data is read.
  stream.resume();
}
