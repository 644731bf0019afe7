import { Controller, Get, Injectable, Module, Param } from '@nestjs/common';
import {
  InjectGrpcService,
  ResilientGrpcModule,
  type CallEnd,
  type GrpcClientInterceptor,
  type OutgoingAttempt,
  type OutgoingCall,
  type Resilient,
} from 'nestjs-resilient-grpc';
import type { OrdersClient } from '../gen/orders.js';

// #region tokens
interface Token {
  readonly value: string;
  readonly expiresAt: number;
}

/** Fetches a token if it is missing or about to expire, once for all waiting calls. */
@Injectable()
export class Tokens {
  #fetches = 0;
  #token: Promise<Token> | undefined;

  async current(): Promise<string> {
    const isNew = this.#token === undefined;
    const token = (this.#token ??= this.#fetch());
    try {
      const { value, expiresAt } = await token;
      // A new token is used even if it expires soon, because another one would expire soon, too.
      if (isNew || expiresAt - Date.now() > 10_000) return value;
    } catch (error) {
      this.#forget(token); // the next call fetches again
      throw error;
    }
    this.#forget(token);
    return this.current();
  }

  forget(): void {
    this.#token = undefined;
  }

  /** Discards `token`, unless a newer one has replaced it. */
  #forget(token: Promise<Token>): void {
    if (this.#token === token) this.#token = undefined;
  }

  async #fetch(): Promise<Token> {
    // Replace with a request to your token server.
    return { value: `token-${++this.#fetches}`, expiresAt: Date.now() + 60_000 };
  }
}
// #endregion

// #region interceptor
@Injectable()
export class TokenInterceptor implements GrpcClientInterceptor {
  constructor(private readonly tokens: Tokens) {}

  /** Runs before each attempt, so that a retry sends the token of its own time. */
  async onAttempt({ metadata }: OutgoingAttempt): Promise<void> {
    metadata.set('authorization', `Bearer ${await this.tokens.current()}`);
  }

  onEnd(_call: OutgoingCall, { code }: CallEnd): void {
    if (code === 16) this.tokens.forget(); // UNAUTHENTICATED: the server rejected the token
  }
}
// #endregion

@Controller()
class OrdersController {
  constructor(
    @InjectGrpcService('orders', 'Orders') private readonly orders: Resilient<OrdersClient>,
    @InjectGrpcService('stock', 'Orders') private readonly stock: Resilient<OrdersClient>,
  ) {}

  @Get('orders/:id') order(@Param('id') id: string) {
    return this.orders.get({ id });
  }

  @Get('stock/:id') inStock(@Param('id') id: string) {
    return this.stock.get({ id });
  }
}

const url = process.env['ORDERS_URL'] ?? 'orders:50051';
const contract = { protoPath: 'protos/orders.proto', url };

// #region module
@Module({
  imports: [
    ResilientGrpcModule.forRoot({ propagate: {} }), // makes the inbound request known to its calls
    ResilientGrpcModule.forFeature([
      { name: 'orders', ...contract, propagate: { metadata: ['authorization'] } }, // the user's token
      { name: 'stock', ...contract, interceptors: [TokenInterceptor] }, // the service's own
    ]),
  ],
  controllers: [OrdersController],
  providers: [Tokens, TokenInterceptor],
})
export class GatewayModule {}
// #endregion
