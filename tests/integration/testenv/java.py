# SPDX-License-Identifier: Apache-2.0
"""Java programs that fetch a URL: by its old client and by its new one."""

JAVA_OLD = """
public class Fetch { public static void main(String[] a) throws Exception {
  System.out.write(new java.net.URL(a[0]).openConnection().getInputStream().readAllBytes()); System.out.flush(); } }
"""
JAVA_NEW = """
import java.net.*; import java.net.http.*;
public class Fetch { public static void main(String[] a) throws Exception {
  System.out.print(HttpClient.newHttpClient().send(
    HttpRequest.newBuilder(URI.create(a[0])).build(), HttpResponse.BodyHandlers.ofString()).body()); } }
"""
