import {
  Catch,
  Injectable,
  type ArgumentsHost,
  type ExceptionFilter,
  type OnApplicationShutdown,
} from '@nestjs/common';
import { BaseExceptionFilter, HttpAdapterHost } from '@nestjs/core';
import { GrpcCallError } from '../../errors/grpc-call-error.js';
import { ResumeError } from '../../errors/resume-error.js';
import { callErrorOf } from './call-error-of.js';
import { FailureLog } from './failure-log.js';
import { nestsOwnHandling } from './nests-own-handling.js';
import { isForCaller, toHttpException } from './to-http-exception.js';

/** What is asked of Express' response, and of Node's below Fastify's. */
interface NodeResponse {
  readonly headersSent?: boolean;
  readonly writableEnded?: boolean;
  destroy?(): void;
}

/**
 * Answers an HTTP request with what the failure of a call is to HTTP (`toHttpException`), with `Retry-After` where that is known, and
 * leaves a line in the log of what is not told. For `{ provide: APP_FILTER, useClass: GrpcToHttpExceptionFilter }`, or `@UseFilters`.
 * Everywhere but under HTTP an exception goes the way that Nest has for it.
 */
@Injectable()
@Catch(GrpcCallError, ResumeError)
export class GrpcToHttpExceptionFilter implements ExceptionFilter<GrpcCallError>, OnApplicationShutdown {
  private readonly log = new FailureLog();

  /** By hand: `app.useGlobalFilters(new GrpcToHttpExceptionFilter(app.get(HttpAdapterHost)))`. */
  constructor(private readonly adapters: HttpAdapterHost) {}

  catch(exception: GrpcCallError | ResumeError, host: ArgumentsHost): unknown {
    if (host.getType<string>() !== 'http') return nestsOwnHandling(exception, host);
    const { httpAdapter } = this.adapters;
    const nests = new BaseExceptionFilter(httpAdapter);
    const error = callErrorOf(exception);
    if (error === undefined) {
      nests.catch(exception, host);
      return undefined;
    }
    const answer = toHttpException(error);
    const status = answer.getStatus();
    if (!isForCaller(error)) this.log.tell(error, String(status), status === 500);
    const response: unknown = host.getArgByIndex(1);
    const node = nodeResponseOf(response);
    // Fastify's adapter of Nest 11 says so only of a response that is out as a whole.
    if (node.headersSent === true || httpAdapter.isHeadersSent(response)) {
      // The status is out: all that can be told is that the body is not whole. Ended in order, it would pass for a success.
      if (node.writableEnded !== true) node.destroy?.();
      return undefined;
    }
    if (answer.retryAfterSeconds !== undefined) {
      httpAdapter.setHeader(response, 'Retry-After', String(answer.retryAfterSeconds));
    }
    nests.catch(answer, host);
    return undefined;
  }

  onApplicationShutdown(): void {
    this.log.close();
  }
}

/** True of Express and Fastify: the reply of the latter has Node's response as `raw`. */
function nodeResponseOf(response: unknown): NodeResponse {
  if (typeof response !== 'object' || response === null) return {};
  const { raw = response } = response as { readonly raw?: object };
  return raw;
}
