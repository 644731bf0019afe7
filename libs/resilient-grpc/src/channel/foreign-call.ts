import type { Channel } from '@grpc/grpc-js';
import type { ChannelGeneration } from './channel-generation.js';

/** Begins a call of grpc-js's own client. A channel that is replaced waits for its end too. */
export function createForeignCall(
  generation: ChannelGeneration,
  args: Parameters<Channel['createCall']>,
): ReturnType<Channel['createCall']> {
  const call = generation.channel.createCall(...args);
  const start = call.start.bind(call);
  call.start = (metadata, listener) => {
    generation.attemptStarted();
    start(metadata, {
      onReceiveMetadata: (headers) => {
        listener.onReceiveMetadata(headers);
      },
      onReceiveMessage: (message: unknown) => {
        listener.onReceiveMessage(message);
      },
      onReceiveStatus: (status) => {
        generation.attemptEnded();
        listener.onReceiveStatus(status);
      },
    });
  };
  return call;
}
