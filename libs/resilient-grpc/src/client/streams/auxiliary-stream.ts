import type { MethodDescriptor } from '../../call/method.js';
import { NO_METADATA } from '../../channel/attempt/call-metadata.js';
import type { ConnectionStream } from '../../channel/connection/connection-stream.js';
import type { ManagedChannel } from '../../channel/managed-channel.js';
import { StatusCode } from '../../status/status-code.js';
import { prepareAttempt } from '../interceptors/prepare-attempt.js';
import type { AuxiliaryStreamListener } from '../internal-grpc-client.js';
import type { ResolvedClientSettings } from '../settings/resolved-settings.js';

/** Opens a stream on a connection of a client, with the metadata of the client's calls. */
export async function openSideStream(
  { name, metadata, metadataSource }: Pick<ResolvedClientSettings, 'name' | 'metadata' | 'metadataSource'>,
  channel: Pick<ManagedChannel, 'current'>,
  { service, method, path, kind, requestSerialize, responseDeserialize }: MethodDescriptor,
  request: object,
  listener: AuxiliaryStreamListener,
): Promise<ConnectionStream | undefined> {
  const call = { client: name, service, method, path, kind, metadata: metadata ?? NO_METADATA };
  const prepared = await prepareAttempt(call, 1, Infinity, { hooks: undefined, metadataSource });
  const stream = channel.current.openStream({
    path,
    metadata: prepared,
    request: requestSerialize(request),
    onMessage: (bytes) => {
      let message: unknown;
      try {
        // grpc-js delivers buffers.
        message = responseDeserialize(bytes as Buffer);
      } catch {
        stream?.cancel();
        listener.onEnd({ code: StatusCode.INTERNAL, details: 'Response message parsing error' });
        return;
      }
      listener.onMessage(message);
    },
    onEnd: (end) => {
      listener.onEnd(end);
    },
  });
  return stream;
}
