import { type DynamicModule, Module } from '@nestjs/common';
import { type ClientGrpc, ClientsModule, Transport } from '@nestjs/microservices';
import { ResilientGrpcModule } from 'nestjs-resilient-grpc';
import { UpstreamProcess } from '../chaos/upstream-process.js';
import { ORDERS_CONTRACT } from '../orders-contract.js';
import type { Contender } from './contender.js';
import { NestContender } from './nest-contender.js';
import { RESILIENT_CLIENT, ResilientContender } from './resilient-contender.js';
import { TUNED_OPTIONS } from './tuned-options.js';

const PLAIN_CLIENT = Symbol('plain ClientGrpc');
const TUNED_CLIENT = Symbol('tuned ClientGrpc');

/** Token of the contenders, in the order of {@link CONTENDER_NAMES}. */
export const CONTENDERS = Symbol('contenders');

/** The contenders, all against the same upstream. */
@Module({})
export class ContendersModule {
  /** `url`: where the upstream is reached, if not directly. */
  static forUpstream(upstream: UpstreamProcess, url = upstream.url): DynamicModule {
    const nestClient = { ...ORDERS_CONTRACT, url };
    return {
      module: ContendersModule,
      imports: [
        ClientsModule.register([
          { name: PLAIN_CLIENT, transport: Transport.GRPC, options: nestClient },
          { name: TUNED_CLIENT, transport: Transport.GRPC, options: { ...nestClient, ...TUNED_OPTIONS } },
        ]),
        ResilientGrpcModule.forFeature([{ ...ORDERS_CONTRACT, name: RESILIENT_CLIENT, url }]),
      ],
      providers: [
        ResilientContender,
        // As a provider it ends with the application.
        { provide: UpstreamProcess, useValue: upstream },
        {
          provide: CONTENDERS,
          inject: [PLAIN_CLIENT, TUNED_CLIENT, ResilientContender],
          useFactory: (plain: ClientGrpc, tuned: ClientGrpc, resilient: ResilientContender): Contender[] => [
            new NestContender('plain', plain),
            new NestContender('tuned', tuned),
            resilient,
          ],
        },
      ],
      exports: [CONTENDERS, UpstreamProcess, ResilientGrpcModule],
    };
  }
}
