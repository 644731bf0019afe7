/** Trailer of a status with which a server refused a call because of an overload, before its handler ran. */
export const OVERLOAD_KEY = 'x-overloaded';

/** Value of {@link OVERLOAD_KEY}. */
export const OVERLOAD_VALUE = 'true';
