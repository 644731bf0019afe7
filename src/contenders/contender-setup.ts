import type { GrpcOptions } from '@nestjs/microservices';
import type { GrpcClientSettings } from 'nestjs-resilient-grpc';
import { TUNED_OPTIONS, tunedOptions } from './tuned-options.js';

/** What the contenders are given besides address and contract. */
export interface ContenderSetup {
  /** What the tuned client has, in the words of the table and the page. */
  readonly tunedTitle: string;
  /** @defaultValue nothing */
  readonly plain?: Pick<GrpcOptions['options'], 'channelOptions'>;
  readonly tuned: Pick<GrpcOptions['options'], 'channelOptions' | 'keepalive'>;
  readonly resilient: Pick<GrpcClientSettings, 'serviceConfig' | 'loadBalancing'>;
  /** Deadline of each call, for the plain one too. @defaultValue none */
  readonly callTimeoutMs?: number | undefined;
}

/** Against lost connections: ours needs no options for them. */
export const OUTAGE_SETUP: ContenderSetup = {
  tunedTitle: '+ retryPolicy, keepalive',
  tuned: TUNED_OPTIONS,
  resilient: {},
};

const ROUND_ROBIN = { loadBalancingConfig: [{ round_robin: {} }] };

/** The same for several servers, which all ask in turn. */
export const ROUND_ROBIN_SETUP: ContenderSetup = {
  tunedTitle: OUTAGE_SETUP.tunedTitle,
  plain: { channelOptions: { 'grpc.service_config': JSON.stringify(ROUND_ROBIN) } },
  tuned: tunedOptions(ROUND_ROBIN),
  resilient: { loadBalancing: 'round_robin' },
};
