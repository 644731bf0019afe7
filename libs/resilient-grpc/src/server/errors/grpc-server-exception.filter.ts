import { Catch, HttpException, Injectable, Optional, type ArgumentsHost, type ExceptionFilter } from '@nestjs/common';
import { BaseExceptionFilter, HttpAdapterHost } from '@nestjs/core';
import { BaseRpcExceptionFilter } from '@nestjs/microservices';
import { throwError } from 'rxjs';
import { serverCallOf } from '../../nest/inbound/grpc-inbound-call.js';
import { statusOfHttpException } from './http-exception-status.js';

/**
 * Maps an HttpException of a gRPC handler to the matching gRPC status; Nest's own filter maps each HttpException to UNKNOWN. Register it
 * with `{ provide: APP_FILTER, useClass: GrpcServerExceptionFilter }`, or with `@UseFilters` on a controller. Exceptions of HTTP handlers
 * and of other microservices in a hybrid application get Nest's default handling.
 */
@Injectable()
@Catch(HttpException)
export class GrpcServerExceptionFilter implements ExceptionFilter<HttpException> {
  private readonly rpc = new BaseRpcExceptionFilter<HttpException>();

  /**
   * Pass `adapters` only if you create the filter yourself in a hybrid application:
   * `app.useGlobalFilters(new GrpcServerExceptionFilter(app.get(HttpAdapterHost)))`.
   */
  constructor(@Optional() private readonly adapters?: HttpAdapterHost) {}

  catch(exception: HttpException, host: ArgumentsHost): unknown {
    const kind = host.getType<string>();
    if (kind === 'rpc') {
      if (serverCallOf(host.getArgs()) === undefined) return this.rpc.catch(exception, host);
      const { code, details, metadata } = statusOfHttpException(exception);
      return throwError(() => ({ code, details, message: details, ...(metadata && { metadata }) }));
    }
    // Nest's own filter handles the exception, because an exception thrown by this filter would bypass Nest and reach the underlying
    // framework.
    if (kind === 'http' && this.adapters !== undefined) {
      new BaseExceptionFilter(this.adapters.httpAdapter).catch(exception, host);
      return undefined;
    }
    throw exception;
  }
}
