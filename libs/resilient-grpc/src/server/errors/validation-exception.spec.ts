import { BadRequestException, ValidationPipe, type ValidationError } from '@nestjs/common';
import { describe, expect, it } from 'vitest';
import { ValidationException, validationException } from './validation-exception.js';

const ERRORS: ValidationError[] = [
  { property: 'id', constraints: { isString: 'id must be a string', isNotEmpty: 'Name it' } },
  {
    property: 'items',
    constraints: { arrayMinSize: 'items must hold 2' },
    children: [
      {
        property: '10',
        children: [{ property: 'quantity', constraints: { min: 'quantity must not be less than 1' }, children: [] }],
      },
    ],
  },
  { property: 'ship', children: [{ property: 'to', children: [{ property: 'zip', constraints: { is: 'no zip' } }] }] },
];

describe('validationException', () => {
  it('lists each validation error with the path of its field', () => {
    expect(validationException(ERRORS).fieldViolations).toEqual([
      { field: 'id', description: 'id must be a string' },
      { field: 'id', description: 'Name it' },
      { field: 'items', description: 'items must hold 2' },
      { field: 'items[10].quantity', description: 'quantity must not be less than 1' },
      { field: 'ship.to.zip', description: 'no zip' },
    ]);
  });

  it("returns an exception with the same HTTP response as the exception of Nest's ValidationPipe", () => {
    // Omits the violations of a list if its items have violations too, as Nest 11 does.
    const errors = ERRORS.map(({ constraints, ...error }) =>
      error.children || !constraints ? error : { ...error, constraints },
    );
    const exception = validationException(errors);
    expect(exception).toBeInstanceOf(BadRequestException);
    const nestException = new ValidationPipe().createExceptionFactory()(errors) as BadRequestException;
    expect(exception.getResponse()).toEqual(nestException.getResponse());
    expect(exception.getStatus()).toBe(nestException.getStatus());
  });

  it('limits the total size of the violations in a ValidationException, and adds a violation that reports the omission', () => {
    const children = Array.from({ length: 1_000 }, (_, at) => ({
      property: String(at),
      constraints: { is: 'x'.repeat(2_000) },
    }));
    const exception = validationException([{ property: 'items', children }]);
    expect(exception).toBeInstanceOf(ValidationException);
    expect(exception.fieldViolations.length).toBeLessThan(500);
    expect(exception.fieldViolations.at(-1)).toEqual({
      field: '',
      description: 'Further validation errors were omitted',
    });
  });
});
