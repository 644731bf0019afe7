/**
 * True in the project 'shipping' of `npm run pack:check`, which runs every row of a table and all calls of a load. Other runs omit rows and
 * calls that take seconds of CPU time.
 */
export const IS_FULL = process.env['FULL_TABLES'] !== undefined;
