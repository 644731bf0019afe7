import { type DynamicModule, Module } from '@nestjs/common';
import { type ClientGrpc, ClientsModule, Transport } from '@nestjs/microservices';
import { ORDERS_CONTRACT } from '../orders-contract.js';
import { NestContender } from './nest-contender.js';
import { TUNED_OPTIONS } from './tuned-options.js';

const PLAIN_CLIENT = Symbol('plain ClientGrpc');
const TUNED_CLIENT = Symbol('tuned ClientGrpc');

/** Token of the contenders, in the order of {@link CONTENDER_NAMES}. */
export const CONTENDERS = Symbol('contenders');

/** The contenders, all against the same upstream. */
@Module({})
export class ContendersModule {
  static forUpstream(url: string): DynamicModule {
    const nestClient = { ...ORDERS_CONTRACT, url };
    return {
      module: ContendersModule,
      imports: [
        ClientsModule.register([
          { name: PLAIN_CLIENT, transport: Transport.GRPC, options: nestClient },
          { name: TUNED_CLIENT, transport: Transport.GRPC, options: { ...nestClient, ...TUNED_OPTIONS } },
        ]),
      ],
      providers: [
        {
          provide: CONTENDERS,
          inject: [PLAIN_CLIENT, TUNED_CLIENT],
          useFactory: (plain: ClientGrpc, tuned: ClientGrpc) => [
            new NestContender('plain', plain),
            new NestContender('tuned', tuned),
          ],
        },
      ],
      exports: [CONTENDERS],
    };
  }
}
