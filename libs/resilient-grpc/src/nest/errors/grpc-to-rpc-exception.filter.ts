import { Catch, Inject, Injectable, Optional, type ArgumentsHost, type ExceptionFilter } from '@nestjs/common';
import { BaseExceptionFilter, HttpAdapterHost } from '@nestjs/core';
import { throwError } from 'rxjs';
import * as v from 'valibot';
import { requireOptions } from '../../policy/options/option-problems.js';
import { object } from '../../policy/options/option-schemas.js';
import { GrpcCallError } from '../../errors/grpc-call-error.js';
import { ResumeError } from '../../errors/stream-errors.js';
import { STATUS_NAMES, StatusCode, type StatusName } from '../../status/status-code.js';
import { serverCallOf } from '../inbound/grpc-inbound-call.js';
import { callErrorOf } from './call-error-of.js';
import { FailureLog } from './failure-log.js';
import { nestDefaultHandling } from './nest-default-handling.js';
import { rpcStatusOf } from './rpc-status.js';
import { toHttpException } from './to-http-exception.js';

/** Options of a `GrpcToRpcExceptionFilter`. */
export interface GrpcToRpcOptions {
  /**
   * Upstream status codes that are forwarded to callers of this service, with message and details; for example, 'NOT_FOUND' if this service
   * exposes resources of an upstream. For INTERNAL, UNKNOWN, and DATA_LOSS, and for a status that the upstream's application did not send,
   * the code is forwarded without message and details.
   * @defaultValue []
   */
  readonly relay?: readonly Exclude<StatusName, 'OK'>[] | undefined;
}

const NAMES = STATUS_NAMES.filter((name) => name !== 'OK');

const optionsSchema = object({ relay: v.optional(v.array(v.picklist(NAMES))) });

/**
 * Maps the failure of a call to the status that the caller of a microservice receives, over gRPC or another transport. Register it with
 * `{ provide: APP_FILTER, useFactory: () => new GrpcToRpcExceptionFilter({ relay: ['NOT_FOUND'] }) }`, or `@UseFilters` on a controller.
 * Outside microservices, Nest's default handling applies. Over HTTP, a filter that was created with `new` throws the exception from
 * `toHttpException` instead.
 */
@Injectable()
@Catch(GrpcCallError, ResumeError)
export class GrpcToRpcExceptionFilter implements ExceptionFilter<GrpcCallError> {
  private readonly log = new FailureLog();
  private readonly relay: ReadonlySet<StatusName>;
  @Optional() @Inject(HttpAdapterHost) private readonly adapters: HttpAdapterHost | undefined;

  /** @throws GrpcConfigurationError if the options are invalid */
  constructor(@Optional() options: GrpcToRpcOptions = {}) {
    requireOptions(optionsSchema, options, 'GrpcToRpcExceptionFilter');
    this.relay = new Set(options.relay);
  }

  catch(exception: GrpcCallError | ResumeError, host: ArgumentsHost): unknown {
    const error = callErrorOf(exception);
    const kind = host.getType<string>();
    if (kind === 'http') {
      const httpAdapter = this.adapters?.httpAdapter;
      // The filter was created manually, without an adapter. The HTTP framework might expose the thrown exception to the caller, so an
      // HttpException without internal details is thrown instead of the error of the call.
      if (httpAdapter === undefined) throw error === undefined ? exception : toHttpException(error);
      new BaseExceptionFilter(httpAdapter).catch(exception, host);
      return undefined;
    }
    if (kind !== 'rpc' || error === undefined) return nestDefaultHandling(exception, host);
    const { codeName, isRelayed, isFault, details, retryAfterMs, metadata } = rpcStatusOf(error, this.relay);
    if (!isRelayed) this.log.log(error, codeName, isFault);
    const status =
      serverCallOf(host.getArgs()) === undefined
        ? { status: 'error', code: codeName, message: details, ...(retryAfterMs !== undefined && { retryAfterMs }) }
        : { code: StatusCode[codeName], details, message: details, metadata };
    return throwError(() => status);
  }
}
