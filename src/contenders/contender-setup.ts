import type { GrpcOptions } from '@nestjs/microservices';
import type { GrpcClientSettings } from 'nestjs-resilient-grpc';
import { PATIENCE } from '../patience.js';
import { TUNED_OPTIONS, tunedOptions } from './tuned-options.js';

/** Options of the contenders, in addition to the address and the contract. */
export interface ContenderSetup {
  /** Title of the tuned client in the table. */
  readonly tunedTitle: string;
  /** @defaultValue none */
  readonly plain?: Pick<GrpcOptions['options'], 'channelOptions'>;
  readonly tuned: Pick<GrpcOptions['options'], 'channelOptions' | 'keepalive'>;
  readonly resilient: Pick<GrpcClientSettings, 'serviceConfig' | 'loadBalancing'>;
  /** Time until the deadline of each call, for all contenders. */
  readonly callTimeoutMs: number;
}

/** The deadline that the README recommends. */
const CALL_TIMEOUT_MS = 10_000 * PATIENCE;

/** Setup for lost connections. Our client needs no options for them. */
export const OUTAGE_SETUP: ContenderSetup = {
  tunedTitle: '+ retryPolicy, keepalive',
  tuned: TUNED_OPTIONS,
  resilient: {},
  callTimeoutMs: CALL_TIMEOUT_MS,
};

const ROUND_ROBIN = { loadBalancingConfig: [{ round_robin: {} }] };

/** Setup for lost connections to several servers, with round-robin load balancing. */
export const ROUND_ROBIN_SETUP: ContenderSetup = {
  tunedTitle: OUTAGE_SETUP.tunedTitle,
  plain: { channelOptions: { 'grpc.service_config': JSON.stringify(ROUND_ROBIN) } },
  tuned: tunedOptions(ROUND_ROBIN),
  resilient: { loadBalancing: 'round_robin' },
  callTimeoutMs: CALL_TIMEOUT_MS,
};
