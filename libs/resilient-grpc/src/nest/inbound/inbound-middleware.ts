import { runInbound } from '../../client/call/caller-context.js';
import type { Clock } from '../../time/clock.js';
import { HttpInboundCall, type HttpRequest, type HttpResponse } from './http-inbound-call.js';

/** Captures inbound HTTP requests, before guards run. Express and Fastify both pass Node's own objects to middleware. */
export function inboundMiddleware(
  clock: Clock,
): (request: HttpRequest, response: HttpResponse, next: () => void) => void {
  return (request, response, next) => {
    runInbound(new HttpInboundCall(request, response, clock), next);
  };
}
