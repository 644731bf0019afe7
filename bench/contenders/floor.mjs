import { Channel, Metadata, credentials, status as Code } from '@grpc/grpc-js';
import { loadService } from '../contract.mjs';
import { OWN_CONNECTION } from './own-connection.mjs';

/**
 * `Channel.createCall` with nothing around it: no Observable, no interceptors, no bookkeeping. No client can cost less.
 *
 * @param {string} address
 * @returns {import('../contenders.mjs').Contender}
 */
export function open(address) {
  const channel = new Channel(address, credentials.createInsecure(), OWN_CONNECTION);
  const { Get, Watch } = loadService();
  return {
    get(id, done) {
      /** @type {{ id: string } | undefined} */
      let order;
      const call = channel.createCall(Get.path, Infinity, null, null, null);
      call.start(new Metadata(), {
        onReceiveMetadata: ignore,
        onReceiveMessage(/** @type {Buffer} */ bytes) {
          order = Get.responseDeserialize(bytes);
        },
        onReceiveStatus(status) {
          done(status.code === Code.OK ? null : status, order);
        },
      });
      call.sendMessageWithContext({}, Get.requestSerialize({ id }));
      call.startRead();
      call.halfClose();
    },
    watch(request, onMessage, done) {
      const call = channel.createCall(Watch.path, Infinity, null, null, null);
      call.start(new Metadata(), {
        onReceiveMetadata: ignore,
        onReceiveMessage(/** @type {Buffer} */ bytes) {
          onMessage(Watch.responseDeserialize(bytes));
          call.startRead();
        },
        onReceiveStatus(status) {
          done(status.code === Code.OK ? null : status);
        },
      });
      call.sendMessageWithContext({}, Watch.requestSerialize(request));
      call.startRead();
      call.halfClose();
    },
    close() {
      channel.close();
    },
  };
}

function ignore() {
  // Nobody asked for the headers.
}
