import {
  Controller,
  Get,
  Inject,
  NotFoundException,
  Param,
  Query,
  Req,
  Res,
  UseGuards,
  VERSION_NEUTRAL,
  type CanActivate,
  type Type,
} from '@nestjs/common';
import { systemClock } from '../time/clock.js';
import { PAGE_FILE, type DashboardAsset, DashboardResponse, EventStream } from './dashboard-response.js';
import { DashboardFeed } from './dashboard-feed.js';

export const DASHBOARD_ASSETS = Symbol('DashboardAssets');

/** Maximum number of open pages. Each costs a connection and its write buffer. */
const MAX_VISITORS = 100;

export function dashboardController(path: string, guards: readonly Type<CanActivate>[]): Type {
  const lastPart = path.slice(path.lastIndexOf('/') + 1);

  @Controller({ path, version: VERSION_NEUTRAL })
  @UseGuards(...guards)
  class DashboardController {
    private visitors = 0;

    constructor(
      @Inject(DashboardFeed) private readonly feed: DashboardFeed,
      @Inject(DASHBOARD_ASSETS) private readonly assets: ReadonlyMap<string, DashboardAsset>,
    ) {}

    @Get()
    page(@Req() request: { readonly url: string }, @Res() response: unknown): void {
      const page = this.asset(PAGE_FILE);
      // Links are relative, because a proxy may prefix the path. Browsers resolve them against the page's path if that path ends with a
      // slash, and otherwise against its parent.
      const inside = /^[^?]*\/(\?|$)/.test(request.url) ? './' : `./${lastPart}/`;
      const text = page.body.replaceAll('"./', `"${inside}`);
      this.answer(request, response, (answer) =>
        answer.file(page.type, text, page.tag.replace(/"$/, `-${String(inside.length)}"`)),
      );
    }

    @Get('snapshot')
    snapshot(@Req() request: unknown, @Res() response: unknown): void {
      this.answer(request, response, (answer) => answer.json(200, this.feed.snapshotJson()));
    }

    /** Streams the events; `client` is the key of the client whose details are shown. */
    @Get('events')
    events(@Req() request: unknown, @Res() response: unknown, @Query('client') client: unknown): void {
      this.answer(request, response, (answer) => {
        if (this.feed.ending) return answer.json(503, { message: 'the application is shutting down' });
        if (this.visitors >= MAX_VISITORS)
          return answer.json(503, { message: 'too many dashboard pages are open; close one' });
        if (!answer.events()) return;
        this.visitors += 1;
        const openClient = typeof client === 'string' ? client : undefined;
        const visitor = new EventStream(answer.raw, systemClock, openClient, () => {
          this.visitors -= 1;
          this.feed.removeVisitor(visitor);
        });
        this.feed.addVisitor(visitor);
      });
    }

    @Get(':asset')
    file(@Req() request: unknown, @Res() response: unknown, @Param('asset') name: string): void {
      const { type, body, tag } = this.asset(name);
      this.answer(request, response, (answer) => answer.file(type, body, tag));
    }

    private asset(name: string): DashboardAsset {
      const asset = this.assets.get(name);
      if (asset === undefined) throw new NotFoundException();
      return asset;
    }

    private answer(request: unknown, response: unknown, write: (answer: DashboardResponse) => void): void {
      const answer = new DashboardResponse(request, response, this.feed.ending);
      // Runs after the application's interceptors. If an interceptor set a header after the first byte, Nest would end the response with an
      // error. Does nothing if the visitor disconnected while a guard was running, or if the application has responded.
      systemClock.defer(() => {
        if (!answer.isOver) write(answer);
      });
    }
  }
  return DashboardController;
}
