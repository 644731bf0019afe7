import { Channel, Metadata, credentials, status as Code } from '@grpc/grpc-js';
import { loadService } from '../load-contract.mjs';
import { OWN_CONNECTION } from './own-connection.mjs';

/**
 * `Channel.createCall` without Observables, interceptors, or bookkeeping: the minimum cost of a call for clients on this channel.
 *
 * @param {string} address
 * @returns {import('../contenders.mjs').Contender}
 */
export function open(address) {
  const channel = new Channel(address, credentials.createInsecure(), OWN_CONNECTION);
  const { Get, Watch, Upload, Echo } = loadService();
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
    read(request, pause) {
      return new Promise((resolve) => {
        const call = channel.createCall(Watch.path, Infinity, null, null, null);
        call.start(new Metadata(), {
          onReceiveMetadata: ignore,
          onReceiveMessage() {
            void pause().then(() => {
              call.startRead();
            });
          },
          onReceiveStatus() {
            resolve();
          },
        });
        call.sendMessageWithContext({}, Watch.requestSerialize(request));
        call.startRead();
        call.halfClose();
      });
    },
    upload(chunks, done) {
      /** @type {{ count: number } | undefined} */
      let received;
      const call = channel.createCall(Upload.path, Infinity, null, null, null);
      call.start(new Metadata(), {
        onReceiveMetadata: ignore,
        onReceiveMessage(/** @type {Buffer} */ bytes) {
          received = Upload.responseDeserialize(bytes);
        },
        onReceiveStatus(status) {
          done(status.code === Code.OK ? null : status, received);
        },
      });
      call.startRead();
      sendAll(call, chunks, Upload.requestSerialize);
    },
    echo(chunks, onMessage, done) {
      const call = channel.createCall(Echo.path, Infinity, null, null, null);
      call.start(new Metadata(), {
        onReceiveMetadata: ignore,
        onReceiveMessage(/** @type {Buffer} */ bytes) {
          onMessage(Echo.responseDeserialize(bytes));
          call.startRead();
        },
        onReceiveStatus(status) {
          done(status.code === Code.OK ? null : status);
        },
      });
      call.startRead();
      sendAll(call, chunks, Echo.requestSerialize);
    },
    close() {
      channel.close();
    },
  };
}

/**
 * Sends each message in the write callback of the previous message.
 *
 * @template T
 * @param {ReturnType<Channel['createCall']>} call
 * @param {Iterable<T>} messages
 * @param {(message: T) => Buffer} serialize
 */
function sendAll(call, messages, serialize) {
  const source = messages[Symbol.iterator]();
  const sendOne = () => {
    const next = source.next();
    if (next.done === true) call.halfClose();
    else call.sendMessageWithContext({ callback: sendOne }, serialize(next.value));
  };
  sendOne();
}

function ignore() {
  // The headers are not used.
}
