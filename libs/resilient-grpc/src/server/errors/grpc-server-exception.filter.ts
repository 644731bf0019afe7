import { Catch, HttpException, Injectable, Optional, type ArgumentsHost, type ExceptionFilter } from '@nestjs/common';
import { BaseExceptionFilter, HttpAdapterHost } from '@nestjs/core';
import { BaseRpcExceptionFilter } from '@nestjs/microservices';
import { throwError } from 'rxjs';
import { serverCallOf } from '../../nest/inbound/grpc-inbound-call.js';
import { serverStatusOf } from './server-status.js';

/**
 * Answers a gRPC call with the status that an HttpException stands for; Nest's own filter makes all of them UNKNOWN. For
 * `{ provide: APP_FILTER, useClass: GrpcServerExceptionFilter }`, or `@UseFilters` on a controller. Everywhere else, also at other
 * microservices of a hybrid application, an exception goes the way that Nest has for it.
 */
@Injectable()
@Catch(HttpException)
export class GrpcServerExceptionFilter implements ExceptionFilter<HttpException> {
  private readonly rpc = new BaseRpcExceptionFilter<HttpException>();

  /** `adapters` by hand in a hybrid application alone: `app.useGlobalFilters(new GrpcServerExceptionFilter(app.get(HttpAdapterHost)))`. */
  constructor(@Optional() private readonly adapters?: HttpAdapterHost) {}

  catch(exception: HttpException, host: ArgumentsHost): unknown {
    const kind = host.getType<string>();
    if (kind === 'rpc') {
      if (serverCallOf(host.getArgs()) === undefined) return this.rpc.catch(exception, host);
      const { code, details, metadata } = serverStatusOf(exception, false);
      return throwError(() => ({ code, details, message: details, ...(metadata && { metadata }) }));
    }
    // Thrown out of a filter, it would pass Nest by and reach the framework below.
    if (kind === 'http' && this.adapters !== undefined) {
      new BaseExceptionFilter(this.adapters.httpAdapter).catch(exception, host);
      return undefined;
    }
    throw exception;
  }
}
