import { WindlassError } from '../../lib/errors.ts';
import type { Dockerfile } from './ast.ts';

/** Parses a Dockerfile. Throws Invalid, `file:line:column: ...`. */
export function parseDockerfile(_source: Buffer, file: string): Dockerfile {
  throw new WindlassError('Unimplemented', `parser not written yet: ${file}`);
}
