// As in an application that is switched by the diff of the README: it takes part of the time to the first response.
import '@nestjs/microservices';
import { ResilientGrpcModule, getGrpcServiceToken } from 'nestjs-resilient-grpc';
import { CA_PATH, PROTO_PACKAGE, PROTO_PATH, targetOf } from '../contract.mjs';
import { openApplication } from './application.mjs';
import { overService } from './observable-service.mjs';
import { RETRIES, TUNED_TIMEOUT_MS } from './channel-options.mjs';

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
  const methods = { '*': { idempotent: true } };
  return open(address, { connections: { warm: true }, timeoutMs: TUNED_TIMEOUT_MS, methods });
}

/** This library with a deadline, retries with a budget, and a circuit breaker. */
export const withPolicies = {
  /** @param {string} address */
  open: (address) =>
    open(address, { timeoutMs: 60_000, methods: { '*': { circuitBreaker: {} } }, serviceConfig: RETRIES }),
};

/**
 * Creates an application with a client named 'bench'.
 *
 * @param {string} address
 * @param {Partial<import('nestjs-resilient-grpc').GrpcClientSettings>} [settings]
 * @param {readonly import('@nestjs/common').DynamicModule[]} [modules] Additional modules.
 * @returns {Promise<import('@nestjs/common').INestApplicationContext>}
 */
export function openApp(address, settings = {}, modules = []) {
  const { target, isSecure } = targetOf(address);
  const tls = isSecure ? { tls: { ca: CA_PATH } } : {};
  return openApplication([
    ...modules,
    ResilientGrpcModule.forFeature([
      { name: 'bench', url: target, package: PROTO_PACKAGE, protoPath: PROTO_PATH, ...tls, ...settings },
    ]),
  ]);
}
