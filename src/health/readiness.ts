import { Injectable, type BeforeApplicationShutdown, type OnApplicationBootstrap } from '@nestjs/common';
import { type HealthIndicatorResult, HealthIndicatorService } from '@nestjs/terminus';

/** Whether this process takes requests: it has started, and was not asked to end. */
@Injectable()
export class Readiness implements OnApplicationBootstrap, BeforeApplicationShutdown {
  #state: 'starting' | 'ready' | 'draining' = 'starting';

  constructor(private readonly indicators: HealthIndicatorService) {}

  onApplicationBootstrap(): void {
    this.#state = 'ready';
  }

  beforeApplicationShutdown(): void {
    this.#state = 'draining';
  }

  check(): HealthIndicatorResult<'process'> {
    const session = this.indicators.check('process');
    return this.#state === 'ready' ? session.up() : session.down({ state: this.#state });
  }
}
