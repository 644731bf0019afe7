import { BadRequestException, type ValidationError } from '@nestjs/common';
import type { FieldViolation } from '../../errors/status-details.js';
import { defineLibraryError } from '../../errors/library-error.js';

/** Maximum total length, in characters, of the messages in a response, as in Nest. */
const MAX_MESSAGES_LENGTH = 1_000_000;
const OMISSION_MESSAGE = 'Further validation errors were omitted';

/**
 * Exception for a request that failed validation. HTTP responses of up to 1,000,000 characters are the same as with Nest's
 * ValidationPipe.
 */
export class ValidationException extends BadRequestException {
  constructor(
    messages: readonly string[],
    readonly fieldViolations: readonly FieldViolation[],
  ) {
    super(messages);
  }
}

defineLibraryError(ValidationException, 'ValidationException');

/**
 * Creates a {@link ValidationException}. Usage: `new ValidationPipe({ exceptionFactory: validationException })`. With
 * `GrpcServerExceptionFilter`, gRPC callers then receive up to 4 KiB of violations, each with the exact path of its field.
 */
export function validationException(errors: readonly ValidationError[]): ValidationException {
  const messages: string[] = [];
  const violations: FieldViolation[] = [];
  let length = 0;
  for (const { message, field, description } of findingsOf(errors)) {
    length += message.length;
    if (length > MAX_MESSAGES_LENGTH) {
      messages.push(OMISSION_MESSAGE);
      violations.push({ field: '', description: OMISSION_MESSAGE });
      break;
    }
    messages.push(message);
    violations.push({ field, description });
  }
  return new ValidationException(messages, violations);
}

interface Finding extends FieldViolation {
  /** Message in the format of Nest's list. */
  readonly message: string;
}

function* findingsOf(errors: readonly ValidationError[], parent = '', field = ''): Generator<Finding> {
  for (const { property, constraints = {}, children = [] } of errors) {
    const own = fieldPath(field, property);
    for (const description of Object.values(constraints)) {
      yield { field: own, description, message: parent === '' ? description : `${parent}.${description}` };
    }
    yield* findingsOf(children, parent === '' ? property : `${parent}.${property}`, own);
  }
}

function fieldPath(parent: string, property: string): string {
  if (/^\d+$/.test(property)) return `${parent}[${property}]`;
  return parent === '' ? property : `${parent}.${property}`;
}
