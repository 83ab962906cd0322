# gpu/ is host code over an interface to a card. With the CUDA toolkit (12 or 13) the library has
# that card too; without it everything builds and tests run on an emulated one.
set(COEL_GPU AUTO CACHE STRING "AUTO: with CUDA if it is there; ON: it must be there; OFF: without")
set(COEL_GPU_ARCHITECTURES "" CACHE STRING
  "compute capabilities, as CMAKE_CUDA_ARCHITECTURES; one without -real carries PTX for later cards; \
empty: 7.5 to 9.0, and to 12.0 with a toolkit that knows it")
set_property(CACHE COEL_GPU PROPERTY STRINGS AUTO ON OFF)

# Machine code for 8.0 runs on all of 8.x, and so on. Only the last and 9.0 (for 11.x) carry PTX, which
# a driver compiles at the first start.
function(coel_default_architectures out)
  set(all 75-real 80-real 90)
  find_package(CUDAToolkit QUIET)
  if(CUDAToolkit_VERSION VERSION_GREATER_EQUAL 12.8)
    list(APPEND all 100-real 120)
  endif()
  set(${out} ${all} PARENT_SCOPE)
endfunction()

# A macro: enable_language wants the file's own scope.
macro(coel_find_cuda)
  set(COEL_CUDA OFF)
  if(COEL_GPU AND NOT COEL_SANITIZE)
    if(NOT CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX})
      find_program(COEL_NVCC nvcc HINTS /usr/local/cuda/bin)
      if(COEL_NVCC)
        set(CMAKE_CUDA_COMPILER ${COEL_NVCC} CACHE FILEPATH "")
      endif()
    endif()
    if(NOT CMAKE_CUDA_ARCHITECTURES)   # not cached: ours may be set anew
      set(CMAKE_CUDA_ARCHITECTURES ${COEL_GPU_ARCHITECTURES})
      if(NOT CMAKE_CUDA_ARCHITECTURES)
        coel_default_architectures(CMAKE_CUDA_ARCHITECTURES)
      endif()
    endif()
    include(CheckLanguage)
    check_language(CUDA)
    if(CMAKE_CUDA_COMPILER)
      find_package(CUDAToolkit 12.0)
    endif()
    if(CMAKE_CUDA_COMPILER AND CUDAToolkit_FOUND AND TARGET CUDA::cudart_static)
      enable_language(CUDA)
      set(COEL_CUDA ON)
    elseif(COEL_GPU STREQUAL "ON")
      message(FATAL_ERROR
        "COEL_GPU=ON, but there is no CUDA toolkit 12 or 13: set CUDACXX to its nvcc")
    endif()
  endif()
endmacro()

# Adds the card to the library gpu; nothing else in the project knows CUDA.
function(coel_add_cuda)
  file(GLOB kernels CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/gpu/cuda/*.cu)
  file(GLOB hosts CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/gpu/cuda/*.cpp)
  add_library(coel_gpu_kernels OBJECT ${kernels})
  target_include_directories(coel_gpu_kernels PRIVATE ${PROJECT_SOURCE_DIR})
  # CMake 3.25 does not know that nvcc 13 has C++20; what kernels include keeps to 17
  set_target_properties(coel_gpu_kernels PROPERTIES CUDA_STANDARD 17 CUDA_EXTENSIONS OFF)
  # no contraction: card and emulator agree bit for bit
  target_compile_options(coel_gpu_kernels PRIVATE --fmad=false --expt-relaxed-constexpr)
  target_sources(coel_gpu PRIVATE ${hosts} $<TARGET_OBJECTS:coel_gpu_kernels>)
  target_compile_definitions(coel_gpu PRIVATE COEL_CUDA)
  target_link_libraries(coel_gpu PUBLIC CUDA::cudart_static ${CMAKE_DL_LIBS})
endfunction()
