import { BadRequestException, type ValidationError } from '@nestjs/common';
import type { FieldViolation } from './field-violation.js';

/** Characters of messages that an answer may hold; as Nest's own. */
const MAX_LENGTH = 1_000_000;
const OMITTED = 'Further validation errors were omitted';

/** A request that did not pass validation. To HTTP it is the exception of Nest's ValidationPipe, with the same body. */
export class ValidationException extends BadRequestException {
  constructor(
    messages: readonly string[],
    readonly fieldViolations: readonly FieldViolation[],
  ) {
    super(messages);
  }
}

/**
 * For `new ValidationPipe({ exceptionFactory: validationException })`: what is wrong reaches the caller of a gRPC method with the
 * exact path of each field, by way of `GrpcServerExceptionFilter`.
 */
export function validationException(errors: readonly ValidationError[]): ValidationException {
  const messages: string[] = [];
  const violations: FieldViolation[] = [];
  let length = 0;
  for (const { message, violation } of findingsOf(errors)) {
    length += message.length;
    if (length > MAX_LENGTH) {
      messages.push(OMITTED);
      violations.push({ field: '', description: OMITTED });
      break;
    }
    messages.push(message);
    violations.push(violation);
  }
  return new ValidationException(messages, violations);
}

interface Finding {
  readonly violation: FieldViolation;
  /** As Nest's list has it. */
  readonly message: string;
}

function* findingsOf(errors: readonly ValidationError[], parent = '', field = ''): Generator<Finding> {
  for (const { property, constraints = {}, children = [] } of errors) {
    const own = fieldPath(field, property);
    for (const description of Object.values(constraints)) {
      yield {
        violation: { field: own, description },
        message: parent === '' ? description : `${parent}.${description}`,
      };
    }
    yield* findingsOf(children, parent === '' ? property : `${parent}.${property}`, own);
  }
}

function fieldPath(parent: string, property: string): string {
  if (/^\d+$/.test(property)) return `${parent}[${property}]`;
  return parent === '' ? property : `${parent}.${property}`;
}
