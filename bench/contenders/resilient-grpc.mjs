import { ResilientGrpcModule, getGrpcServiceToken } from 'nestjs-resilient-grpc';
import { PROTO_PACKAGE, PROTO_PATH } from '../contract.mjs';
import { openApplication } from './application.mjs';
import { overService } from './observable-service.mjs';
import { TUNED_TIMEOUT_MS } from './tuned-options.mjs';

/**
 * Ours in a Nest application, with no option but the contract and the address, unless `settings` are given.
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
 * Set up against restarts as well as it can be.
 *
 * @param {string} address
 * @returns {Promise<import('../contenders.mjs').Contender>}
 */
export function openTuned(address) {
  return open(address, { connection: 'warm', timeoutMs: TUNED_TIMEOUT_MS, methods: { '*': { idempotent: true } } });
}

/**
 * The application around it; its client is called 'bench'.
 *
 * @param {string} address
 * @param {Partial<import('nestjs-resilient-grpc').GrpcClientSettings>} [settings]
 * @param {readonly import('@nestjs/common').DynamicModule[]} [modules] Beside it.
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
