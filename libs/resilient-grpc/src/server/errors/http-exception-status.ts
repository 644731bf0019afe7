import { Metadata } from '@grpc/grpc-js';
import type { HttpException } from '@nestjs/common';
import { statusDetailsBin } from '../../errors/status-details-bin.js';
import { STATUS_DETAILS_KEY } from '../../errors/status-details.js';
import { StatusCode } from '../../status/status-code.js';
import { badRequestDetail, type FieldViolation } from './field-violation.js';
import { codeOfHttpStatus } from './http-status.js';
import { joined } from './status-text.js';
import { ValidationException } from './validation-exception.js';

/** What an HttpException is in gRPC. */
export interface HttpExceptionStatus {
  readonly code: StatusCode;
  readonly details: string;
  readonly metadata?: Metadata;
}

/** The status that an HttpException stands for; with a `google.rpc.BadRequest` where it lists what is wrong with the request. */
export function statusOfHttpException(exception: HttpException): HttpExceptionStatus {
  const code = codeOfHttpStatus(exception.getStatus());
  const response: unknown = exception.getResponse();
  const found: unknown = isObject(response) ? response['message'] : response;
  const texts = textsOf(found);
  const details = texts === undefined ? joined([exception.message]) : joined(texts);
  if (code !== StatusCode.INVALID_ARGUMENT) return { code, details };
  const violations = exception instanceof ValidationException ? exception.fieldViolations : violationsOf(found);
  if (violations.length === 0) return { code, details };
  const metadata = new Metadata();
  metadata.set(STATUS_DETAILS_KEY, statusDetailsBin(code, details, [badRequestDetail(violations)]));
  return { code, details, metadata };
}

function textsOf(message: unknown): readonly string[] | undefined {
  if (typeof message === 'string') return [message];
  if (isTexts(message)) return message;
  return isObject(message) ? Object.values(message).filter(isTexts).flat() : undefined;
}

/**
 * Nest's ValidationPipe gives a list of texts, in which the path of a field cannot be told from the words of a message; or, by
 * `errorFormat: 'grouped'`, lists by path.
 */
function violationsOf(message: unknown): readonly FieldViolation[] {
  if (isTexts(message)) return message.map((description) => ({ field: '', description }));
  if (!isObject(message)) return [];
  return Object.entries(message).flatMap(([path, texts]) =>
    isTexts(texts) ? texts.map((description) => ({ field: indexed(path), description })) : [],
  );
}

/** 'items.0.quantity' as 'items[0].quantity'; and '...' of what was left out is no path. */
function indexed(path: string): string {
  return path === '...' ? '' : path.replaceAll(/(?:^|\.)(\d+)(?=\.|$)/g, '[$1]');
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((one) => typeof one === 'string');
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
