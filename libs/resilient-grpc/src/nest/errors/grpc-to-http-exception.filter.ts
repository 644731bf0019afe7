import { Catch, Injectable, type ArgumentsHost, type ExceptionFilter } from '@nestjs/common';
import { BaseExceptionFilter, HttpAdapterHost } from '@nestjs/core';
import { GrpcCallError } from '../../errors/grpc-call-error.js';
import { ResumeError } from '../../errors/stream-errors.js';
import { callErrorOf, isForCaller, toHttpException } from './to-http-exception.js';
import { FailureLog, nestDefaultHandling } from './failure-log.js';

interface NodeResponse {
  readonly headersSent?: boolean;
  readonly writableEnded?: boolean;
  destroy?(): void;
}

/**
 * Maps the failure of a call to an HTTP response (`toHttpException`), with `Retry-After` if known, and logs the details that the response
 * does not expose. Register it with `{ provide: APP_FILTER, useClass: GrpcToHttpExceptionFilter }` or `@UseFilters`. Outside HTTP, Nest's
 * default handling applies.
 */
@Injectable()
@Catch(GrpcCallError, ResumeError)
export class GrpcToHttpExceptionFilter implements ExceptionFilter<GrpcCallError> {
  private readonly log = new FailureLog();

  /** Manual registration: `app.useGlobalFilters(new GrpcToHttpExceptionFilter(app.get(HttpAdapterHost)))`. */
  constructor(private readonly adapters: HttpAdapterHost) {}

  catch(exception: GrpcCallError | ResumeError, host: ArgumentsHost): unknown {
    if (host.getType<string>() !== 'http') return nestDefaultHandling(exception, host);
    const { httpAdapter } = this.adapters;
    const nestFilter = new BaseExceptionFilter(httpAdapter);
    const error = callErrorOf(exception);
    if (error === undefined) {
      nestFilter.catch(exception, host);
      return undefined;
    }
    const answer = toHttpException(error);
    const status = answer.getStatus();
    if (!isForCaller(error)) this.log.log(error, String(status), status === 500);
    const response: unknown = host.getArgByIndex(1);
    const node = nodeResponseOf(response);
    // Node's flag is checked, too, because in Nest 11, Fastify's adapter reports headers as sent only after the whole response has been
    // sent.
    if (node.headersSent === true || httpAdapter.isHeadersSent(response)) {
      // The status was sent earlier. Destroying the connection shows that the body is incomplete; a clean end would look like a success.
      if (node.writableEnded !== true) node.destroy?.();
      return undefined;
    }
    if (answer.retryAfterSeconds !== undefined) {
      httpAdapter.setHeader(response, 'Retry-After', String(answer.retryAfterSeconds));
    }
    nestFilter.catch(answer, host);
    return undefined;
  }
}

function nodeResponseOf(response: unknown): NodeResponse {
  if (typeof response !== 'object' || response === null) return {};
  const { raw = response } = response as { readonly raw?: object };
  return raw;
}
