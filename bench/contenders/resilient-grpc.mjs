import { ResilientGrpcModule, getGrpcServiceToken } from 'nestjs-resilient-grpc';
import { PROTO_PACKAGE, PROTO_PATH } from '../contract.mjs';
import { openApplication } from './application.mjs';
import { overService } from './observable-service.mjs';
import { TUNED_TIMEOUT_MS } from './tuned-options.mjs';

/**
 * Opens this library's client for `address` in a Nest application, with the benchmark's contract and `settings`.
 *
 * @param {string} address
 * @param {Partial<import('nestjs-resilient-grpc').GrpcClientSettings>} [settings]
 * @returns {Promise<import('../contenders.mjs').Contender>}
 */
export async function open(address, settings = {}) {
  const app = await openApp(address, settings);
  return overService(app.get(getGrpcServiceToken('bench', 'Bench')), () => app.close());
}

/**
 * Opens the client with the best options for restarts.
 *
 * @param {string} address
 * @returns {Promise<import('../contenders.mjs').Contender>}
 */
export function openTuned(address) {
  return open(address, { connection: 'warm', timeoutMs: TUNED_TIMEOUT_MS, methods: { '*': { idempotent: true } } });
}

/**
 * Creates an application with a client named 'bench'.
 *
 * @param {string} address
 * @param {Partial<import('nestjs-resilient-grpc').GrpcClientSettings>} [settings]
 * @param {readonly import('@nestjs/common').DynamicModule[]} [modules] Additional modules.
 * @returns {Promise<import('@nestjs/common').INestApplicationContext>}
 */
export function openApp(address, settings = {}, modules = []) {
  return openApplication([
    ...modules,
    ResilientGrpcModule.forFeature([
      { name: 'bench', url: address, package: PROTO_PACKAGE, protoPath: PROTO_PATH, ...settings },
    ]),
  ]);
}
