export { GrpcException, type GrpcExceptionError, type GrpcExceptionOptions } from './errors/grpc-exception.js';
export { GrpcServerExceptionFilter } from './errors/grpc-server-exception.filter.js';
export type { FieldViolation } from './errors/field-violation.js';
export { ValidationException, validationException } from './errors/validation-exception.js';
