import type { Call } from './call.ts';

/** The whole body of a request; what `tooLarge` makes is thrown before more than `limit` bytes are kept. */
export async function readAll({ headers, body }: Call, limit: number, tooLarge: () => Error): Promise<Buffer> {
  if (Number(headers['content-length'] ?? 0) > limit) throw tooLarge();
  const chunks: Buffer[] = [];
  let total = 0;
  for await (const chunk of body) {
    total += chunk.length;
    if (total > limit) throw tooLarge();
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, total);
}
