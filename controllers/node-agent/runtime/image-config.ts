import { WindlassError } from '../../../lib/errors.ts';
import type { OciImageConfig } from './node-runtime.ts';

/** Parses an OCI image configuration. Invalid when it is no JSON object. */
export function parseImageConfig(json: string): OciImageConfig {
  try {
    const parsed: unknown = JSON.parse(json);
    if (parsed !== null && typeof parsed === 'object' && !Array.isArray(parsed)) return parsed;
  } catch (error) {
    throw new WindlassError('Invalid', 'the image configuration is not valid JSON', { cause: error });
  }
  throw new WindlassError('Invalid', 'the image configuration is not a JSON object');
}
