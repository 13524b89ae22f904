# SPDX-License-Identifier: Apache-2.0
# What the .deb and the .rpm hold: one list for both, in an install component of its own, which
# `cmake --install` leaves out and cpack takes from any build. Paths are Debian's.
# sh packaging/build-packages.sh makes the packages.
set(packed ${PROJECT_BINARY_DIR}/package)
set(packaging ${PROJECT_SOURCE_DIR}/packaging)

find_program(GZIP gzip)
if(NOT GZIP)
    return()
endif()

# ---- Completions know every key ----
set(table ${PROJECT_SOURCE_DIR}/proxy/conf/keys.c)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${table})
file(READ ${table} keys)
string(REGEX REPLACE "^.*global_keys\\[\\] = {" "" keys "${keys}")
string(REGEX REPLACE "\n};.*$" "" keys "${keys}")
string(REGEX MATCHALL "\n    {\"[a-z0-9_.]+\"" keys "${keys}")
string(REGEX REPLACE "[^a-z0-9_.;]" "" keys "${keys}")
string(REPLACE ";" " " TLSFAN_KEYS "${keys}")
configure_file(${packaging}/completions/tlsfan.bash.in ${packed}/tlsfan.bash @ONLY)
configure_file(${packaging}/completions/tlsfan.zsh.in ${packed}/tlsfan.zsh @ONLY)

# ---- Files ----
foreach(name tlsfan.8 tlsfan.conf.5 tlsfan-errors.7 changelog)
    add_custom_command(OUTPUT ${packed}/${name}.gz
        COMMAND ${GZIP} -9nc ${packaging}/${name} > ${packed}/${name}.gz
        DEPENDS ${packaging}/${name} VERBATIM)
    list(APPEND compressed ${packed}/${name}.gz)
endforeach()
add_custom_target(package_files ALL DEPENDS ${compressed})

macro(pack destination)
    install(${ARGN} DESTINATION ${destination} COMPONENT package EXCLUDE_FROM_ALL)
endmacro()
pack(${CMAKE_INSTALL_BINDIR} TARGETS tlsfan RUNTIME)
pack(${CMAKE_INSTALL_MANDIR}/man8 FILES ${packed}/tlsfan.8.gz)
pack(${CMAKE_INSTALL_MANDIR}/man5 FILES ${packed}/tlsfan.conf.5.gz)
pack(${CMAKE_INSTALL_MANDIR}/man7 FILES ${packed}/tlsfan-errors.7.gz)
pack(${CMAKE_INSTALL_DOCDIR} FILES ${packed}/changelog.gz ${packaging}/copyright)
pack(${CMAKE_INSTALL_DOCDIR}/examples
    DIRECTORY ${packaging}/gateway ${packaging}/monitoring ${packaging}/nftables
    FILE_PERMISSIONS OWNER_READ OWNER_WRITE GROUP_READ WORLD_READ)
pack(${CMAKE_INSTALL_DOCDIR} DIRECTORY ${PROJECT_SOURCE_DIR}/conf/examples)
pack(${CMAKE_INSTALL_DATADIR}/bash-completion/completions
    FILES ${packed}/tlsfan.bash RENAME tlsfan)
pack(${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions FILES ${packed}/tlsfan.zsh RENAME _tlsfan)
pack(/etc/tlsfan FILES ${PROJECT_SOURCE_DIR}/conf/tlsfan.conf)
pack(/etc/logrotate.d FILES ${packaging}/logrotate RENAME tlsfan)
pack(/etc/apparmor.d FILES ${packaging}/apparmor RENAME tlsfan)
pack(/lib/systemd/system FILES ${packaging}/systemd/tlsfan.service
    ${packaging}/systemd/tlsfan.socket ${packaging}/systemd/tlsfan-service.socket)

# ---- Both packages ----
set(CPACK_GENERATOR DEB)
set(CPACK_INSTALL_CMAKE_PROJECTS ${PROJECT_BINARY_DIR} tlsfan package /)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE
    GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_STRIP_FILES ON)
set(CPACK_PACKAGE_RELOCATABLE OFF)
set(CPACK_PACKAGE_NAME tlsfan)
set(CPACK_PACKAGE_VENDOR tlsfan)
set(CPACK_PACKAGE_CONTACT "tlsfan maintainers <maintainers@tlsfan.example>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "HTTPS forward proxy for programs that cannot do HTTPS well")
set(CPACK_PACKAGE_DESCRIPTION "A program speaks plain HTTP to tlsfan, which makes every request
as a verified TLS request, many at once, and gives the answers back in
order: any http:// URL to any host, without a list of hosts.

It runs as a service, or for one command: tlsfan run -- COMMAND.")

# ---- Debian ----
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
# procps has /bin/kill, for ExecReload.
set(CPACK_DEBIAN_PACKAGE_DEPENDS "adduser, ca-certificates, procps")
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "apparmor, bash-completion, logrotate")
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${packaging}/deb/conffiles ${packaging}/deb/postinst
    ${packaging}/deb/prerm ${packaging}/deb/postrm)

# ---- RPM ----
set(CPACK_RPM_FILE_NAME RPM-DEFAULT)
set(CPACK_RPM_PACKAGE_LICENSE Apache-2.0)
set(CPACK_RPM_PACKAGE_GROUP "System Environment/Daemons")
set(CPACK_RPM_PACKAGE_DESCRIPTION "${CPACK_PACKAGE_DESCRIPTION}")
set(CPACK_RPM_PACKAGE_AUTOREQ ON)
set(CPACK_RPM_PACKAGE_REQUIRES "ca-certificates, /bin/kill")
set(CPACK_RPM_PACKAGE_REQUIRES_PRE "/usr/sbin/useradd, /usr/sbin/groupadd")
set(CPACK_RPM_PRE_INSTALL_SCRIPT_FILE ${packaging}/rpm/pre)
set(CPACK_RPM_POST_INSTALL_SCRIPT_FILE ${packaging}/rpm/post)
set(CPACK_RPM_PRE_UNINSTALL_SCRIPT_FILE ${packaging}/rpm/preun)
set(CPACK_RPM_POST_UNINSTALL_SCRIPT_FILE ${packaging}/rpm/postun)
# CPack takes every absolute path for configuration unless it is named here.
set(CPACK_RPM_USER_FILELIST "%config(noreplace) /etc/tlsfan/tlsfan.conf"
    "%config(noreplace) /etc/logrotate.d/tlsfan" "%config(noreplace) /etc/apparmor.d/tlsfan"
    "%attr(0644,root,root) /lib/systemd/system/tlsfan.service"
    "%attr(0644,root,root) /lib/systemd/system/tlsfan.socket"
    "%attr(0644,root,root) /lib/systemd/system/tlsfan-service.socket")
# Folders of other packages.
set(CPACK_RPM_EXCLUDE_FROM_AUTO_FILELIST_ADDITION /etc/apparmor.d /etc/logrotate.d /lib
    /lib/systemd /lib/systemd/system /usr/share/man /usr/share/man/man5 /usr/share/man/man7
    /usr/share/man/man8
    /usr/share/bash-completion /usr/share/bash-completion/completions /usr/share/zsh
    /usr/share/zsh/vendor-completions)
# The files are finished: the same bytes go into both packages.
set(CPACK_RPM_SPEC_MORE_DEFINE "%define _build_id_links none
%define debug_package %{nil}
%define _buildhost localhost
%define __os_install_post %{nil}")
include(CPack)
