import type { ServerResponse } from 'node:http';
import {
  Controller,
  HttpCode,
  Inject,
  type MessageEvent,
  NotFoundException,
  Param,
  Post,
  Res,
  Sse,
} from '@nestjs/common';
import { map, type Observable } from 'rxjs';
import { Show } from './show.js';

/** Token of the function that replaces this gateway, its server, and its clients. */
export const START_OVER = Symbol('start over');

/** Time after which a page reconnects, in milliseconds. */
const RECONNECT_MS = 250;

/** Serves the live figures and the button actions of the page. The page itself is static. */
@Controller()
export class PageController {
  constructor(
    private readonly show: Show,
    @Inject(START_OVER) private readonly replace: () => Promise<void>,
  ) {}

  @Sse('live')
  live(): Observable<MessageEvent> {
    return this.show.live$.pipe(map((state) => ({ data: state, retry: RECONNECT_MS })));
  }

  @Post('faults/:fault')
  @HttpCode(204)
  async perform(@Param('fault') action: string): Promise<void> {
    if (!(await this.show.perform(action))) throw new NotFoundException();
  }

  @Post('start-over')
  @HttpCode(204)
  async startOver(@Res({ passthrough: true }) response: ServerResponse): Promise<void> {
    // The new gateway closes the connection of this request.
    if (await this.show.end()) response.once('close', () => void this.replace());
  }
}
