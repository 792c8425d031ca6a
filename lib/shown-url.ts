/** A URL for messages: without user, password and query. */
export function withoutSecrets(url: string): string {
  return url.replace(/^([a-z+]+:\/\/)[^/?#]*@/i, '$1').replace(/\?[^#]*/, '');
}
