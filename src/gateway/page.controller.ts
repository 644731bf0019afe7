import { Controller, HttpCode, type MessageEvent, NotFoundException, Param, Post, Sse } from '@nestjs/common';
import { map, type Observable } from 'rxjs';
import { Show } from './show.js';

/** Serves the live figures and the button actions of the page. The page itself is static. */
@Controller()
export class PageController {
  constructor(private readonly show: Show) {}

  @Sse('live')
  live(): Observable<MessageEvent> {
    return this.show.live$.pipe(map((state) => ({ data: state })));
  }

  @Post('faults/:fault')
  @HttpCode(204)
  async perform(@Param('fault') action: string): Promise<void> {
    if (!(await this.show.perform(action))) throw new NotFoundException();
  }

  @Post('start-over')
  @HttpCode(204)
  async startOver(): Promise<void> {
    await this.show.startOver();
  }
}
